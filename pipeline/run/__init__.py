"""What every stage shares in how it starts, fails, logs and names what it made; nothing here decides a result."""
