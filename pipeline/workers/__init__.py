"""Where work is done: processes of this machine, and Ray; nothing here decides a result."""
