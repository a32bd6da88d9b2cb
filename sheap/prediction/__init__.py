"""From pictures and videos of people to heads of persons, and to the files that others can use."""
