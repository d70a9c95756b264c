// Chooses the glacier nearest to the pointer, if it is near.
if (map.data.longitude !== undefined) {
  const {longitude, latitude, size} = map.data
  const across = plot.inner_width / (plot.x_range.end - plot.x_range.start)
  const up = plot.inner_height / (plot.y_range.end - plot.y_range.start)
  let found = -1
  let least = Infinity
  for (let i = 0; i < longitude.length; i++) {
    const x = (longitude[i] - cb_obj.x) * across
    const y = (latitude[i] - cb_obj.y) * up
    const distance = Math.hypot(x, y)
    if (distance < least && distance < Math.max(size[i] / 2 + 3, 12)) {
      found = i
      least = distance
    }
  }
  if (found >= 0) chosen.data = {index: [found], longitude: [longitude[found]], latitude: [latitude[found]]}
}
