"""Workers on the nodes of a Ray cluster: who joins it, who deals the tasks, what is shipped, what comes back."""
