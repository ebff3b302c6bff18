/** What a figure has to keep, in words, and whether it does. */
export type Budget = { text: string; verdict: 'meets the goal' | 'meets the budget' | 'misses the budget' }

/** The least that a figure may be, and what it should be. */
export function atLeast(value: number, budget: number, goal: number | null = null): Budget {
  const text = `≥ ${budget.toFixed(2)}${goal === null ? '' : ` (goal ${goal.toFixed(2)})`}`
  if (goal !== null && value >= goal) return { text, verdict: 'meets the goal' }
  return { text, verdict: value >= budget ? 'meets the budget' : 'misses the budget' }
}

/** The most that a figure may be. */
export function atMost(value: number, budget: number, unit = ''): Budget {
  return { text: `≤ ${budget}${unit}`, verdict: value <= budget ? 'meets the budget' : 'misses the budget' }
}
