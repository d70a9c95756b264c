"""What the stages of learning and judging do; the same for cubes and for a user's table."""
