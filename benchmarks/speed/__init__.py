"""How fast the product is, compared with what it has to beat in the same run."""
