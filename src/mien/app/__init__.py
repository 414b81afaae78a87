"""The faces of the product: command line, later server and studio."""
