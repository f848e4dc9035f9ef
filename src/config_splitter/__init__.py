"""`python -m config_splitter` is the command `vmanomaly split`."""
