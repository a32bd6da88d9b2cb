"""What a head model lacks and a picture of it can tell: landmarks, what no camera sees, regions, UVs (`complete_head`)."""
