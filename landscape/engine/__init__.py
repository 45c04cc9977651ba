"""What runs at each point of a plane."""
