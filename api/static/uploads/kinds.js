// The kind of a file, told by its name. fathom/photos/kinds.py has the same rule; a test compares the two.

const PHOTOS = suffixes("apng avif bmp dib gif heic heif hif jfif jpe jpeg jpg mpo png tif tiff webp");
/** Pictures that Fathom does not read. They are sent, so that the job names them as failed. */
const UNREAD = suffixes("3fr arw avci avifs bay cr2 cr3 crw dcr dng eip erf exr fff gpr hdp hdr heics heifs icns ico iiq j2c " +
  "j2k jp2 jpc jpf jpx jxl jxr kdc mef mos mrw nef nrw orf ori pam pbm pcx pef pgm pnm ppm psb psd raf " +
  "raw rw2 rwl sr2 srf srw svg svgz tga wdp x3f xcf");
const VIDEOS = suffixes("360 3g2 3gp 3gpp asf avi braw crm divx dv f4v flv insv lrf lrv m2t m2ts m4v mkv mod mov mp mp4 mpe " +
  "mpeg mpg mts mxf ogv qt r3d tod vob webm wmv");
const SIDECARS = suffixes("aae acr arp bdm cos cpi ctg dop gpx json modd moff mpl nksc on1 pp3 srt thm vrd xml xmp");
/** Folders and files of operating systems. Names that begin with a dot are hidden anyway. */
const SYSTEM = new Set(["#recycle", "#snapshot", "$recycle.bin", "@__thumb", "@eadir", "@recently-snapshot", "@recycle", "@tmp", "__macosx", "desktop.ini", "ehthumbs.db", "ehthumbs_vista.db", "found.000", "icon\r", "lost+found", "system volume information", "thumbs.db"]);

/** Return whether a path is hidden, or is in a hidden folder. */
export function isHidden(name) {
  return name.split(/[/\\]/).some((part) => SYSTEM.has(part.toLowerCase()) || (part.startsWith(".") && part !== "." && part !== ".."));
}

/** Return `photo`, `unread`, `video`, `sidecar` or `other`; `type` is the browser's guess. */
export function kindOf(name, type = "") {
  const suffix = /\.([^./\\]+)$/.exec(name)?.[1].toLowerCase() ?? "";
  if (VIDEOS.has(suffix)) return "video";
  if (SIDECARS.has(suffix) || /\.labels\.png$/i.test(name)) return "sidecar";
  if (UNREAD.has(suffix)) return "unread";
  if (PHOTOS.has(suffix) || type.startsWith("image/")) return "photo";
  return type.startsWith("video/") ? "video" : "other";
}

function suffixes(text) {
  return new Set(text.split(" "));
}
