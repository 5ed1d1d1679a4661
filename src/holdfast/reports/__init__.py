"""Tables, pictures and pages made from plain scorecards."""
