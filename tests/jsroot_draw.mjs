// Opens a ROOT file with JSROOT and draws objects of it: node jsroot_draw.mjs FILE FOLDER OBJECT...
// Prints one line of JSON for each: its class, title, size, labels and some contents.
import { writeFileSync } from 'node:fs';
import { makeSVG, openFile } from 'jsroot';

const [path, folder, ...names] = process.argv.slice(2);
const file = await openFile(`file://${path}`);
for (const [number, name] of names.entries()) {
  const object = await file.readObject(name);
  const labels = axis => axis.fLabels?.arr.map(label => label.fString) ?? [];
  const described = {
    class: object._typename,
    name: object.fName ?? object.fString,
    title: object.fTitle,
    entries: object.fEntries,
    contents: Array.from(object.fArray ?? []),
    xlabels: object.fXaxis ? labels(object.fXaxis) : [],
    ylabels: object.fYaxis ? labels(object.fYaxis) : [],
  };
  if (object.fXaxis)
    writeFileSync(`${folder}/${number}.svg`, await makeSVG({ object, option: '', width: 900, height: 600 }));
  console.log(JSON.stringify(described));
}
