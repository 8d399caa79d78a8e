"""What learns a policy conditioned on a latent, from rows of transitions: one file each, with its losses."""
