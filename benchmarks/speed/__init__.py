"""How fast the product is, beside what it has to beat in the same run."""
