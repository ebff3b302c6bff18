import { brand } from './brand.tsx'

type Colour = readonly [red: number, green: number, blue: number]

const WHITE: Colour = [255, 255, 255]
const BLACK: Colour = [0, 0, 0]
/** The cards of the style sheet, on which links and buttons stand: in the light, and in the dark. */
const CARDS = { light: WHITE, dark: [27, 30, 36] as Colour }
/** What people need to read text on a colour (WCAG 2.2, success criterion 1.4.3), and a little more for the page behind. */
const MIN_CONTRAST = 5

/**
 * Takes PORTAL_ACCENT for the colour of links and buttons. Where it could not be read on a card it is made darker, or on a
 * dark one lighter. Set by CSSOM: the policy allows no style in the page.
 */
export function applyAccent(): void {
  const accent = parse(brand.accent)
  if (!accent) return
  const [light, dark] = [readableOn(CARDS.light, accent, BLACK), readableOn(CARDS.dark, accent, WHITE)]
  const { style } = document.documentElement
  style.setProperty('--accent', `light-dark(${format(light)}, ${format(dark)})`)
  style.setProperty('--on-accent', `light-dark(${format(textOn(light))}, ${format(textOn(dark))})`)
}

function parse(text: string): Colour | null {
  const [, ...parts] = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text) ?? []
  const [red, green, blue] = parts.map((part) => Number.parseInt(part, 16))
  return red === undefined || green === undefined || blue === undefined ? null : [red, green, blue]
}

const format = (colour: Colour): string => `rgb(${colour.map(Math.round).join(' ')})`

function readableOn(card: Colour, colour: Colour, towards: Colour): Colour {
  for (let share = 0; share < 1; share += 0.05) {
    const mixed = mix(colour, towards, share)
    if (contrast(mixed, card) >= MIN_CONTRAST) return mixed
  }
  return towards
}

const mix = ([r, g, b]: Colour, [r2, g2, b2]: Colour, share: number): Colour => [
  r + (r2 - r) * share,
  g + (g2 - g) * share,
  b + (b2 - b) * share,
]

const textOn = (colour: Colour): Colour =>
  contrast(WHITE, colour) >= contrast(BLACK, colour) ? WHITE : BLACK

function contrast(one: Colour, other: Colour): number {
  const [light = 0, dark = 0] = [luminanceOf(one), luminanceOf(other)].sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}

function luminanceOf(colour: Colour): number {
  const [red = 0, green = 0, blue = 0] = colour.map((part) => {
    const value = part / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
