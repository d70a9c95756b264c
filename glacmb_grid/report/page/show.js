// Shows the series of the glacier that was clicked or found.
if (chosen.data.index.length > 0 && window.glacmb_series !== undefined) {
  const {facts, balance, half} = window.glacmb_series
  const one = chosen.data.index[0]
  const {step, half_step} = facts.series
  const count = facts.year.length
  const out = {year: facts.year.slice(), balance: [], lower: [], upper: []}
  for (let at = one * count; at < (one + 1) * count; at++) {
    const value = balance[at] === -32768 ? NaN : balance[at] * step / 100
    const width = half === null || half[at] === 255 ? NaN : half[at] * half_step / 100
    out.balance.push(value)
    out.lower.push(value - width)
    out.upper.push(value + width)
  }
  series.data = out
  const seen = {year: [], balance: [], lower: [], upper: []}
  for (const [year, value, sigma] of facts.observed[one] ?? []) {
    seen.year.push(year)
    seen.balance.push(value)
    seen.lower.push(sigma === null ? NaN : value - sigma)
    seen.upper.push(sigma === null ? NaN : value + sigma)
  }
  observed.data = seen
  const name = map.data.name[one]
  const area = map.data.area[one]
  const size = Number.isFinite(area) ? `, ${area.toPrecision(3)} km²` : ""
  heading.text = `${name === "" ? "" : name + " "}${map.data.identifier[one]}${size}`
  document.documentElement.dataset.glacier = map.data.identifier[one]
}
