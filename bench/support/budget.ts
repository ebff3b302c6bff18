/** The bound of a figure, in words, and whether the figure meets it. */
export type Budget = { text: string; verdict: 'meets the goal' | 'meets the budget' | 'misses the budget' }

/**
 * A bound for a figure that should be high.
 * @param budget the minimum
 * @param goal the desired minimum
 */
export function atLeast(value: number, budget: number, goal: number): Budget {
  return {
    text: `≥ ${budget.toFixed(2)} (goal ${goal.toFixed(2)})`,
    verdict: value >= goal ? 'meets the goal' : value >= budget ? 'meets the budget' : 'misses the budget',
  }
}

/**
 * A bound for a figure that should be low.
 * @param budget the maximum
 * @param goal the desired maximum, where there is one
 */
export function atMost(value: number, budget: number, unit = '', goal = Number.NaN): Budget {
  return {
    text: `≤ ${budget}${unit}${Number.isNaN(goal) ? '' : ` (goal ${goal})`}`,
    verdict: value <= goal ? 'meets the goal' : value <= budget ? 'meets the budget' : 'misses the budget',
  }
}
