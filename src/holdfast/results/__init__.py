"""What the finished points of a study say together: means, effects, ranks, claims and advice; needs no model."""
