"""The HDF5 grid and other layouts: read, written, described."""
