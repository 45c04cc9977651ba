"""What figures of images and of topology draw."""
