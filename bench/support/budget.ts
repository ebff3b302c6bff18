/** The bound of a figure, in words, and whether the figure keeps it. */
export type Budget = { text: string; verdict: 'meets the goal' | 'meets the budget' | 'misses the budget' }

/** The least that a figure may be, and what it should be. */
export function atLeast(value: number, budget: number, goal: number): Budget {
  return {
    text: `≥ ${budget.toFixed(2)} (goal ${goal.toFixed(2)})`,
    verdict: value >= goal ? 'meets the goal' : value >= budget ? 'meets the budget' : 'misses the budget',
  }
}

/** The most that a figure may be, and what it should be where there is a goal beyond the budget. */
export function atMost(value: number, budget: number, unit = '', goal = Number.NaN): Budget {
  return {
    text: `≤ ${budget}${unit}${Number.isNaN(goal) ? '' : ` (goal ${goal})`}`,
    verdict: value <= goal ? 'meets the goal' : value <= budget ? 'meets the budget' : 'misses the budget',
  }
}
