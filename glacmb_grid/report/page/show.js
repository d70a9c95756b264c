// Shows the series of the glacier that was clicked or found.
if (chosen.data.index.length > 0 && window.glacmb_series !== undefined) {
  const {facts, planes, half} = window.glacmb_series
  const one = chosen.data.index[0]
  const code = facts.series
  const count = facts.year.length
  const rest = planes.length / 2
  const out = {year: [], balance: [], lower: [], upper: []}
  for (let k = 0; k < count; k++) {
    const at = one * count + k
    const coded = planes[at] + 256 * planes[rest + at]
    let value = NaN
    if (coded !== 65535) {
      const remainder = coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2
      value = (remainder + code.years[k] + code.glaciers[one]) * code.step / 100
    }
    const width = half === null || half[at] === 255 ? NaN : half[at] * code.half_step / 100
    out.year.push(facts.year[k])
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
