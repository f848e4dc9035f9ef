"""Records on their way to a database: the queue, and what sends its records."""
