//===- ReadMetadata.cpp - The metadata of a linked file --------------------===//

#include "txc/Link/Link.h"
#include "txc/step_abi.h"

#include "llvm/Object/ELFObjectFile.h"

using namespace mlir;

llvm::Expected<std::string> txc::link::readMetadata(llvm::MemoryBufferRef file) {
  auto elf = llvm::object::ObjectFile::createELFObjectFile(file);
  if (!elf)
    return elf.takeError();
  for (const llvm::object::SectionRef &section : (*elf)->sections()) {
    llvm::Expected<StringRef> name = section.getName();
    if (!name)
      return name.takeError();
    if (*name != TXC_METADATA_SECTION)
      continue;
    llvm::Expected<StringRef> contents = section.getContents();
    if (!contents)
      return contents.takeError();
    return contents->str();
  }
  return llvm::createStringError("has no section " TXC_METADATA_SECTION
                                 "; expected a step.so that txc compile wrote");
}
