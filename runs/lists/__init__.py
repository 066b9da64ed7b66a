"""What the lists of experiments and runs show. Reads only, in a number of queries that no row changes."""
