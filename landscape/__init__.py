"""Loss surfaces: a model or checkpoint becomes an HDF5 grid."""
