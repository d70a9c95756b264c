// Selects the first glacier whose identifier, or else name, holds what was typed.
const wanted = cb_obj.value.trim().toLowerCase()
if (wanted !== "" && map.data.identifier !== undefined) {
  const ids = Array.from(map.data.identifier)
  const names = Array.from(map.data.name)
  let found = ids.findIndex((id) => id.toLowerCase() === wanted)
  if (found < 0) found = names.findIndex((name) => name.toLowerCase() === wanted)
  if (found < 0) found = ids.findIndex((id) => id.toLowerCase().includes(wanted))
  if (found < 0) found = names.findIndex((name) => name.toLowerCase().includes(wanted))
  cb_obj.title = found < 0 ? `No glacier like “${cb_obj.value}”` : "Find a glacier by identifier or name"
  if (found >= 0) {
    const {longitude, latitude} = map.data
    chosen.data = {index: [found], longitude: [longitude[found]], latitude: [latitude[found]]}
  }
}
