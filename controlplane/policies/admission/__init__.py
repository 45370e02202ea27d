"""Who is let in. Pure: facts and now in, an answer out."""
