import { createStore } from './store.ts'

/** The look is all that the console keeps in the browser. */
export type Look = 'system' | 'light' | 'dark'
const NAME = 'latchkey-theme'
const LOOKS: readonly Look[] = ['system', 'light', 'dark']

const systemIsDark = matchMedia('(prefers-color-scheme: dark)')
/** In a frame of another site a browser may refuse to store anything. */
function stored(): Look {
  try {
    return LOOKS.find((look) => look === localStorage.getItem(NAME)) ?? 'system'
  } catch {
    return 'system'
  }
}

/** Which look was chosen, and whether it is dark at present. */
export const theme = createStore({ look: stored(), isDark: false })

export function setLook(look: Look): void {
  localStorage.setItem(NAME, look)
  apply(look)
}

function apply(look: Look): void {
  document.documentElement.dataset.theme = look
  theme.set({ look, isDark: look === 'dark' || (look === 'system' && systemIsDark.matches) })
}

apply(stored())
systemIsDark.addEventListener('change', () => apply(theme.get().look))
