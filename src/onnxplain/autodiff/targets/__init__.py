"""What is explained: the score as a part of the graph, and what the axes and rows of an output mean."""
