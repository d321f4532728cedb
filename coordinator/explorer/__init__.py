"""What people look at: records read from the projection, kept cheap at any number of jobs."""
