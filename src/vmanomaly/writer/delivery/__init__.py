"""Records on their way to a database: the queue, and who sends what is in it."""
