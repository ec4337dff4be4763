"""What all experiments share: the contract, the store of results, the runner, the command line."""
