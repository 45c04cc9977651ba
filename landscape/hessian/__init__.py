"""Second derivatives: products with vectors, eigenvalues."""
