"""What a run leaves: names of results, the files that were named as inputs, and the manifest that says what was made of what."""
