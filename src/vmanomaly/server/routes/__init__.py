"""The routes, a router for each group of them."""
