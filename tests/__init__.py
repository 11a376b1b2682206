"""The tests of batchup: batteries of checks per contract, laws, frozen orders, house rules."""
