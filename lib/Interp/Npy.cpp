//===- Npy.cpp - Write tensors for NumPy -----------------------------------===//

#include "Npy.h"

#include "llvm/Support/EndianStream.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

namespace txc::interp {

template <typename T>
static llvm::Error write(llvm::StringRef path, llvm::StringRef type, const Array<T> &array) {
  std::error_code error;
  llvm::raw_fd_ostream file(path, error);
  if (error)
    return llvm::createStringError(error, "cannot write %s: %s", path.str().c_str(), error.message().c_str());
  std::string shape;
  for (int64_t size : array.shape)
    shape += std::to_string(size) + ",";
  std::string header =
      ("{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }").str();
  // Magic, version and length take 10 bytes; the data start at a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  file << llvm::StringRef("\x93NUMPY\x01\x00", 8);
  llvm::support::endian::write<uint16_t>(file, header.size(), llvm::endianness::little);
  file << header;
  for (T element : array.data)
    llvm::support::endian::write<T>(file, element, llvm::endianness::little);
  file.close();
  if (file.has_error()) {
    error = file.error();
    file.clear_error();
    return llvm::createStringError(error, "cannot write %s: %s", path.str().c_str(), error.message().c_str());
  }
  return llvm::Error::success();
}

llvm::Error writeNpy(llvm::StringRef path, const Tensor &tensor) { return write(path, "<f8", tensor); }
llvm::Error writeNpy(llvm::StringRef path, const IntTensor &tensor) { return write(path, "<i4", tensor); }

} // namespace txc::interp
