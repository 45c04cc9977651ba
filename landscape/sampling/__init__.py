"""Which points are evaluated, in what order, on which rank, and how far a plane reaches."""
