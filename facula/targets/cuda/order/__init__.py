"""What is put in order: rows, and writes that may meet, by where they go."""
