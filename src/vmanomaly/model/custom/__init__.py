"""The user's own models: found, loaded, and run behind the contract that every model keeps."""
