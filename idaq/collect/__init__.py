"""Recipe -> behaviour policies -> rollouts -> shards -> dataset. The only writer of datasets."""
