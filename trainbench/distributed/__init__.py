"""Several processes as one run: how they find each other, agree, and notice when one is gone."""
