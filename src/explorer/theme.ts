/** Light or dark: the theme of the system, or the choice of the user. */
import { write } from "./dom.js"

const themes = ["auto", "light", "dark"] as const
type Theme = (typeof themes)[number]

const key = "effect-prometheus-theme"

// Without permission to store it, the choice lasts as long as the page.
const kept = (): Theme => {
  try {
    return themes.find((theme) => theme === localStorage.getItem(key)) ?? "auto"
  } catch {
    return "auto"
  }
}

const keep = (theme: Theme): void => {
  try {
    localStorage.setItem(key, theme)
  } catch {}
}

/** A button that switches to the next theme. */
export const themed = (button: HTMLButtonElement): void => {
  let theme = kept()
  const show = (): void => {
    document.documentElement.dataset["theme"] = theme
    write(button, `Theme: ${theme}`)
  }
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "auto"
    keep(theme)
    show()
  })
  show()
}
