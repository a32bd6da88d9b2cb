"""What stages hand to each other, and what files they take: read here, by whoever needs it."""
