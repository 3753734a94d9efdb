"""Domain assimilation: the loss, the training loop, and the folder it leaves (the command is `assimilate`)."""
