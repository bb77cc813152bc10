"""What the policy obliges a draft to contain, in the words of sixteen languages."""
