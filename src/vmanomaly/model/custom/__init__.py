"""Models of the user's own: found, loaded, and run behind the contract that every model keeps."""
