"""What the policies reach in the simulator, beside what they should: `python -m benches.simulation`."""
