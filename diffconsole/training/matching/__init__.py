"""The search for the settings that lead from a raw vocal to its mix."""
